"""A child process that trains and predicts for the window.

The window never shares its interpreter lock with the network, never imports torch, and survives when the
system kills a training that ran out of memory. `protocol` says what crosses the pipe, `server` is the child,
`client` the window's end of it. None of them knows Qt.
"""
