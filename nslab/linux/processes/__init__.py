"""Start, find, talk to and end the processes of labs."""
