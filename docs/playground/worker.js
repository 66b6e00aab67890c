// Runs Python and harmony beside the page, so that the page never waits for them.
import { loadPyodide } from "./pyodide/pyodide.mjs";

const at = (name) => new URL(name, import.meta.url).href;

async function fetched(name) {
  const response = await fetch(at(name));
  if (!response.ok) throw new Error(`${name} could not be loaded: ${response.status} ${response.statusText}`);
  return response;
}

/** Our modules and the wheels, each with its name and its bytes. */
async function fetchedFiles() {
  const { wheels, modules } = await (await fetched("parts.json")).json();
  return Promise.all([...wheels, ...modules].map(async (name) => [name, await (await fetched(name)).arrayBuffer()]));
}

async function start() {
  const [python, files] = await Promise.all([loadPyodide({ indexURL: at("pyodide/") }), fetchedFiles()]);
  for (const [name, bytes] of files) {
    // Both go to the folder where Python begins, from which it imports.
    if (name.endsWith(".whl")) python.unpackArchive(bytes, "wheel");
    else python.FS.writeFile(name, new Uint8Array(bytes));
  }
  const { answer } = python.pyimport("playground");
  postMessage({ started: true });
  return answer;
}

const started = start();

onmessage = async ({ data }) => {
  try {
    postMessage({ answer: (await started)(data) });
  } catch (error) {
    postMessage({ failure: String(error) });
  }
};
