"""The wish: a lab file, read, completed and checked. Pure: nothing here looks at the machine but at the file."""
