"""Training: episodes -> batches of canvases -> loss -> a model directory."""
