"""From a traced graph to a program: canonicalize, classify, rewrite, optimize."""
