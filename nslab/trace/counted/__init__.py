"""The rules of a node with their counters: which chain leads where, for which Service, and what each endpoint gets."""
