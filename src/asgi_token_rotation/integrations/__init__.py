"""Thin modules for frameworks, named after them. Each imports its framework; nothing here is imported by itself."""
