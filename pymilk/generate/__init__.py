"""Python from the catalog: typed calls of a schema's functions, for the client of `pymilk.rpc`."""
