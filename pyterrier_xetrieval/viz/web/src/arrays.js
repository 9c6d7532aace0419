// Arrays that Python has written as base64: the inverse of explorer_data.packed.

const VIEWS = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array, u4: Uint32Array };

export function unpack({ type, data }) {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  if (type === "f2") return halves(new Uint16Array(bytes.buffer));
  return new VIEWS[type](bytes.buffer);
}

// IEEE half precision to single; browsers that can do it themselves are too new to rely on.
function halves(bits) {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i];
    const exponent = (b >> 10) & 31;
    const fraction = b & 1023;
    const size =
      exponent === 31
        ? fraction ? NaN : Infinity
        : exponent
          ? 2 ** (exponent - 15) * (1 + fraction / 1024)
          : 2 ** -14 * (fraction / 1024);
    out[i] = b & 0x8000 ? -size : size;
  }
  return out;
}

export function dot(a, i, b, j, n) {
  let sum = 0;
  for (let k = 0, x = i * n, y = j * n; k < n; k++) sum += a[x + k] * b[y + k];
  return sum;
}

// Where the runs of these lengths begin, and where the last one ends.
export function runs(counts) {
  const out = new Uint32Array(counts.length + 1);
  for (let i = 0; i < counts.length; i++) out[i + 1] = out[i] + counts[i];
  return out;
}
