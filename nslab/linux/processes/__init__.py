"""The processes of labs: started, found, talked to, ended."""
