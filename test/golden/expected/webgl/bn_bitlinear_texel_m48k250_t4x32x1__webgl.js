function sums(codes, q) {
  // Codes times activations: 48 rows of 250 columns, each 8 texels of 32, by as many tokens as there are. A thread
  // adds up four rows for a token. A texel of codes is four words of eight columns, the first column in the lowest two bits;
  // one of activations has four of them. Sums are exact: 2 * 128 * 256 <= 2^24.
  // Written from templates/webgl/bitlinear_texel.js.hbs.
  const first = 4 * 8 * this.thread.x;
  const activations = 64 * this.thread.y;
  let sum0 = 0;
  let sum1 = 0;
  let sum2 = 0;
  let sum3 = 0;
  for (let texel = 0; texel < 8; texel++) {
    const row0 = codes[first + texel];
    const row1 = codes[first + 8 + texel];
    const row2 = codes[first + 2 * 8 + texel];
    const row3 = codes[first + 3 * 8 + texel];
    for (let word = 0; word < 4; word++) {
      let rest0 = row0[word];
      let rest1 = row1[word];
      let rest2 = row2[word];
      let rest3 = row3[word];
      for (let half = 0; half < 2; half++) {
        const four = q[activations + 8 * texel + 2 * word + half];
        for (let i = 0; i < 4; i++) {
          const value = four[i];
          const next0 = Math.floor(rest0 * 0.25);
          const next1 = Math.floor(rest1 * 0.25);
          const next2 = Math.floor(rest2 * 0.25);
          const next3 = Math.floor(rest3 * 0.25);
          sum0 += (rest0 - 4 * next0) * value;
          sum1 += (rest1 - 4 * next1) * value;
          sum2 += (rest2 - 4 * next2) * value;
          sum3 += (rest3 - 4 * next3) * value;
          rest0 = next0;
          rest1 = next1;
          rest2 = next2;
          rest3 = next3;
        }
      }
    }
  }
  return [sum0, sum1, sum2, sum3];
}
