"""What is taught and asked: scenarios, their samples and questions."""
