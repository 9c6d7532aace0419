export const MINUS = "−";

export const fixed = (value, digits = 3) => value.toFixed(digits).replace(/^-/, MINUS).replace(/^−(0\.0*)$/, "$1");
export const signed = (value, digits = 3) => (value >= 0 ? "+" : "") + fixed(value, digits);
export const percent = (share) => `${fixed(100 * share, 0)}\u00a0%`;
export const counted = (n, thing) => `${n.toLocaleString("en")} ${thing}${n === 1 ? "" : "s"}`;
