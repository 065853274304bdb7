"""What all components are made of: a loop, sockets with lines, namespaces, the process they are forked from."""
