/** The code that threads of WebGL run, bundled: see bundle.mjs. */
declare const script: string;
export default script;
