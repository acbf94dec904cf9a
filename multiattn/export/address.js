// The part of the address after #: fields with values, such as #word=3&map=attention.

const hashOf = (fields) => `#${Array.from(fields, ([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;

function fieldsOf(hash) {
  const fields = new Map();
  for (const part of hash.slice(1).split("&")) {
    const [name, value = ""] = part.split("=");
    try {
      fields.set(name, decodeURIComponent(value));
    } catch {
      // a broken %: as if it were not there
    }
  }
  return fields;
}

// A whole number, counted from `from`; undefined where there is none.
const wholeOf = (fields, name, from) => (/^\d{1,6}$/u.test(fields.get(name) ?? "") ? Number(fields.get(name)) - from : undefined);

// The address follows what is shown a moment later, for browsers refuse too many changes; the way back is not filled.
function followAddress(addressOf) {
  let waiting = null;
  whenShown.push(() => {
    clearTimeout(waiting);
    waiting = setTimeout(() => location.hash === addressOf() || history.replaceState(null, "", addressOf()), 150);
  });
}
