"""What the data of a training is, before its first step: a table on standard error, and RUN/data.json.

`files` looks at sizes, headers and equal content, `folders` at what lies beside the files of a split, `labels` and
`texts` at what is known of them; `report` joins their findings, and `table` prints them.

Everything is bounded, so that it is as quick for a million files: what is looked at is stated beside each finding.
"""
