"""A run as a repository for the Hugging Face Hub."""
