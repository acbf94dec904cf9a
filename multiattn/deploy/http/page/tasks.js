// What each task asks for, and what there is to try it with.

export const TASKS = {
  classify: {
    lead: "What is in the picture?",
    about: "The model names it, and shows where it looked.",
    kind: "picture",
    examples: [{ file: "frog.png" }, { file: "airplane.png" }, { file: "ship.png" }, { file: "truck.png" }],
  },
  caption: {
    lead: "A sentence about the picture",
    about: "The model writes it. Point at a word to see where it looked for it.",
    kind: "picture",
    examples: [{ file: "truck.png" }, { file: "ship.png" }, { file: "airplane.png" }],
    ours: "The model that comes with multiattn has learned photographs of people and dogs; of drawings like these it guesses.",
  },
  answer: {
    lead: "Ask about the picture",
    about: "One question after the other. Each answer shows what the model looked at.",
    kind: "picture",
    needs: "question",
    examples: [
      { file: "scene.png", question: "What color is the large circle?" },
      { file: "scene_count.png", question: "How many red objects are there?" },
    ],
  },
  match: {
    lead: "Which words fit the picture?",
    about: "Labels of your own, that no model was trained on.",
    kind: "picture",
    needs: "labels",
    examples: ["frog.png", "airplane.png", "truck.png"].map((file) => ({
      file,
      labels: "a green frog\nan airplane in the sky\na truck on a road\na dog in the snow",
    })),
  },
  transcribe: {
    lead: "What is said in the recording?",
    about: "The model writes it down. Words light up as the recording plays.",
    kind: "recording",
    examples: [{ file: "digits.flac" }, { file: "telephone.flac" }, { file: "sentence.flac" }],
    ours: "The model that comes with multiattn has learned spoken English digits.",
  },
};

export const KINDS = {
  picture: {
    accept: "image/*",
    drop: "Drop a picture here, or paste one",
    choose: "Choose a picture",
    another: "Another picture",
    doing: "Looking",
  },
  recording: {
    accept: "audio/*,.flac,.ogg,.opus,.mp3,.m4a,.wav",
    drop: "Drop a recording here",
    choose: "Choose a recording",
    another: "Another recording",
    doing: "Listening",
  },
};
