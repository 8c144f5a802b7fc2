"""A simulated line: rendered parts under a camera, with defects whose place is known.

`settings` says what the line is like, `surface` shapes the good part, `defects` damages it,
`camera` turns it into a picture, `line` makes the frames one after the other, `writing` saves them.
"""
