"""Pictures for people: predictions drawn over images, contact sheets, plots of trajectories, video files."""
