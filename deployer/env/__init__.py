"""Env files: read strictly, made and completed, kept out of images; and variables for the user's shell."""
