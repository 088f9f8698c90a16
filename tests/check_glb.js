// Validates binary glTF files against the specification. Errors and warnings fail.
//   NODE_PATH=... node tests/check_glb.js FILE...
// Needs the package gltf-validator.
const fs = require("fs");
const validator = require("gltf-validator");

async function main(files) {
  for (const file of files) {
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)));
    const { numErrors, numWarnings, messages } = report.issues;
    if (numErrors + numWarnings > 0) throw new Error(`${file}: ${JSON.stringify(messages, null, 1)}`);
    const { animationCount, totalVertexCount, hasSkins } = report.info;
    if (!animationCount || !totalVertexCount || !hasSkins) throw new Error(`${file}: nothing moves or shows in it`);
    console.log(`${file}: valid glTF, ${totalVertexCount} vertices`);
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
