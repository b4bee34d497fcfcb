"""What is written on the nodes of a graph, and what can be read off one."""
