"""SOAR: a teacher writes problems and is paid by its students' progress on hard ones (arXiv 2601.18778)."""
