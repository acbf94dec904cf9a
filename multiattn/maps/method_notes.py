"""How to read the maps of a classifier. Importing this imports no torch."""

METHOD_NOTES = {
    "attention": "The share of the classifier's attention that went to each patch, mean of the attention heads. "
    "It shows where the model looked, not for which class.",
    "rollout": "The share of each patch in what the classifier read, as if attention were all that moves information. "
    "It is the same for every class, and stays nearly as it is when the top blocks lose what they learned.",
    "relevance": "Attention weighted by how much it raised this class's score, followed through all layers. "
    "Bright patches raised the score of the class.",
    "lrp": "The contribution of each patch to this class's score, followed back from it through every operation. "
    "Patches above 0 raised the score of the class, those below 0 lowered it.",
    "gradient_x_input": "How much the score changes with a small change of each patch's pixels, times the pixels. "
    "It uses no attention: a contrast to the other maps.",
}
"""How to read a map, by method."""

STACK_NOTE = "The share of each head's attention that went to each patch, from the tokens that the classifier reads."
"""Of a stack: what every layer and head attends to."""
