"""A model becomes a torch.fx graph: by symbolic tracing, or through torch.export."""
