"""The Container Network Interface by its specification (1.0 and 1.1, and back to 0.1.0): what a runtime says and hears.

Pure: configurations are read, plugins' orders are made and their answers understood; who runs them is `nslab.linux`.
"""
