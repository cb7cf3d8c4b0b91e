"""The log lines of the models and of the proxy itself, their history, and their listeners.

`lines` cuts process output into whole lines, `ring` keeps the latest, `broadcaster` distributes them to each
`subscription`, and `backlog` bounds what waits for a slow reader.  `observer` turns the proxy's own events into lines,
and `console` writes lines to the proxy's own stdout.
"""
