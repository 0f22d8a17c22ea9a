// Inference by ONNX Runtime in the form of bench/compare's processes, see rivals.py.
//   node onnx_step.cjs FILE.onnx BATCH THREADS
'use strict';

const readline = require('readline');
const ort = require('onnxruntime-node');

async function main() {
  const [file, batch, threads] = [process.argv[2], +process.argv[3], +process.argv[4]];
  const session = await ort.InferenceSession.create(file, {
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    executionMode: 'sequential',
    executionProviders: ['cpu'],
    logSeverityLevel: 3,
    extra: {session: {set_denormal_as_zero: '1'}},
  });
  const shape = [batch, ...session.inputMetadata[0].shape.slice(1)];
  const values = Float32Array.from({length: shape.reduce((a, b) => a * b)}, gauss);
  const feeds = {[session.inputNames[0]]: new ort.Tensor('float32', values, shape)};
  for await (const line of readline.createInterface({input: process.stdin})) {
    const infer = [];
    for (let i = 0; i < +line; ++i) {
      const start = process.hrtime.bigint();
      await session.run(feeds);
      infer.push(Number(process.hrtime.bigint() - start) / 1e9);
    }
    console.log(JSON.stringify({infer}));
  }
  console.log(JSON.stringify({version: ort.env.versions.node}));
}

function gauss() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

main().catch((error) => {
  console.error(`onnx_step: ${error.message}`);
  process.exit(1);
});
