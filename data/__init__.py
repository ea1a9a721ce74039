"""What makes data: the demo's clips, and file lists of Kinetics-400 or of one's own videos."""
