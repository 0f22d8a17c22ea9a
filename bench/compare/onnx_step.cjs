// Inference by ONNX Runtime in the form of bench/compare's processes, see rivals.py.
//   node onnx_step.cjs FILE.onnx BATCH SIZE THREADS
'use strict';

const readline = require('readline');
const ort = require('onnxruntime-node');

async function main() {
  const file = process.argv[2];
  const [batch, size, threads] = process.argv.slice(3).map(Number);
  const session = await ort.InferenceSession.create(file, {
    graphOptimizationLevel: 'all',
    intraOpNumThreads: threads,
    executionMode: 'sequential',
    executionProviders: ['cpu'],
    logSeverityLevel: 3,
    extra: {session: {set_denormal_as_zero: '1'}},
  });
  const shape = [batch, 3, size, size];
  const values = Float32Array.from({length: batch * 3 * size * size}, gauss);
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
