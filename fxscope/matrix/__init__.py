"""Networks x verbs: what each verb of the command line says of each network, and how exactly."""
