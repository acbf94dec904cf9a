"""The roles of attention heads, for `maps.heads`, which finds them, and for the help of `evaluate heads`."""

ROLES = {
    "reads the class token": "at least 30 % of the patches' attention goes to the class token and other prefix tokens",
    "sink": "at least 30 % of all rows' attention goes to one and the same token",
    "positional": "at least 40 % of each row's attention goes to one neighbor in a fixed direction",
    "local": "at least 50 % of each row's attention stays at its own place and the places beside it",
    "points": "its attention to a picture is at least twice as dense in the boxes of what is asked about as elsewhere",
    "even": "attention is spread evenly: 1 minus its normalized entropy is at most 0.1",
    "content": "none of these: where it looks depends on what is there",
}
"""The roles of heads with their definitions; the first that holds is the head's. All are means over rows and inputs."""
