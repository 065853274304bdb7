"""The use cases, one module each: functions that read, decide with the pure packages, act through `linux`, and return
values. The command line and the pytest plugin call the same functions; nothing here prints.
"""
