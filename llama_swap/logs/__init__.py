"""Lines of the models and of the proxy itself: cut, kept, and spread to listeners.

`lines` cuts process output into whole lines, `ring` keeps the last of them, `broadcaster` spreads them to
each `subscription`, and `backlog` bounds what waits for a slow reader.  `observer` turns the proxy's own
events into lines, and `console` writes lines to the proxy's own stdout.
"""
