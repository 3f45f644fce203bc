"""Objective x language strategy x stop rule."""
