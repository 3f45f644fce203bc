"""Text models behind one protocol: servers, services and models of this process; every reply kept before it is used."""
