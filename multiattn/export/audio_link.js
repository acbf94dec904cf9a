// The part of the address after #: #word=3&map=layer%20and%20head&layer=4&head=mean&time=2.35&way=to. Words count from 1;
// layers and heads from 0; a time, in seconds, is that of the moment of the map from moment to moment.

followAddress(() => {
  const fields = new Map();
  if (chosen.unit >= 0) fields.set("word", chosen.unit + 1);
  if (chosen.map) fields.set("map", chosen.map.name);
  if (chosen.map?.layers) fields.set("layer", chosen.layer).set("head", chosen.head ? chosen.head - 1 : "mean");
  if (isMoments()) fields.set("time", sound.currentTime.toFixed(2));
  if (isMoments() && chosen.toToken) fields.set("way", "to");
  return hashOf(fields);
});

async function showAddress() {
  const fields = fieldsOf(location.hash);
  const [layer, head, word] = [wholeOf(fields, "layer", 0), wholeOf(fields, "head", -1), wholeOf(fields, "word", 1)];
  if (layer !== undefined) chosen.layer = layer;
  if (head !== undefined || fields.get("head") === "mean") chosen.head = head ?? 0;
  const time = Number(fields.get("time"));
  if (fields.has("time") && time >= 0) seek(time);
  if (fields.has("time")) chosen.toToken = fields.get("way") === "to";
  const name = data.maps.find((one) => one.name === fields.get("map"))?.name ?? chosen.map?.name ?? data.maps[0]?.name;
  if (name !== undefined) {
    showMethods(data.maps, name, showMap);
    await showMap(name);
  }
  if (units[word]) choose(word);
}

showAddress();
addEventListener("hashchange", showAddress);
