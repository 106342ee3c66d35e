"""What tests of Headgate, and of what is built upon it, are made of: crashes, disks that fail, runs made by hand.

`crashes` kills real processes, `vfs` counts syncs and loses power, `log_conformance` makes the appends with which any
`ports.Log` can be tried. Import from the module that has the thing; nothing here is imported by the engine.
"""
