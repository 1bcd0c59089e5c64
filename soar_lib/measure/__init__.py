"""What reads run folders: pass@k, intervals, diversity, quality, plots. It trains nothing."""
