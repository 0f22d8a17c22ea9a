// Runs the files that write_zoo made in ONNX Runtime, unfused and fused, and compares them with each
// other and with what this library computed.    node check_onnx.cjs FOLDER [NAME...]
'use strict';

const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const folder = process.argv[2];
const only = process.argv.slice(3);

function floats(file) {
  const bytes = fs.readFileSync(path.join(folder, file));
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

async function run(entry, level) {
  const optimized = path.join(folder, `${entry.name}.${level}.onnx`);
  const options = {
    graphOptimizationLevel: level,
    optimizedModelFilePath: optimized,
    intraOpNumThreads: 1,
    executionProviders: ['cpu'],
    logSeverityLevel: 3,
  };
  const session = await ort.InferenceSession.create(path.join(folder, `${entry.name}.onnx`), options);
  const input = new ort.Tensor('float32', floats(`${entry.name}.in`), entry.input);
  const result = await session.run({[session.inputNames[0]]: input});
  const ops = operators(fs.readFileSync(optimized));
  fs.unlinkSync(optimized);
  return {values: result[session.outputNames[0]].data, ops};
}

// Operators of a file and how often they occur, straight from the protocol buffer: ModelProto.graph
// is field 7, GraphProto.node field 1, NodeProto.op_type field 4.
function operators(bytes) {
  const counts = {};
  for (const [, graph] of fields(bytes).filter(([field]) => field === 7)) {
    for (const [, node] of fields(graph).filter(([field]) => field === 1)) {
      const op = fields(node).find(([field]) => field === 4)[1].toString();
      counts[op] = (counts[op] || 0) + 1;
    }
  }
  return counts;
}

function fields(bytes) {
  const all = [];
  let at = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte >= 128);
    return value;
  };
  while (at < bytes.length) {
    const key = varint();
    const field = Math.floor(key / 8), type = key % 8;
    if (type === 0) {
      varint();
    } else if (type === 1 || type === 5) {
      at += type === 1 ? 8 : 4;
    } else {
      const length = varint();
      all.push([field, bytes.subarray(at, at + length)]);
      at += length;
    }
  }
  return all;
}

function argmax(values, from, count) {
  let best = from;
  for (let i = from + 1; i < from + count; ++i) {
    if (values[i] > values[best]) best = i;
  }
  return best - from;
}

// The largest difference, that over the spread of b's values, and images with another class.
function compare(a, b, classes) {
  let largest = 0, sum = 0, squares = 0, other = 0;
  for (let i = 0; i < a.length; ++i) {
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
    sum += b[i];
    squares += b[i] * b[i];
  }
  for (let i = 0; i < a.length; i += classes) {
    if (argmax(a, i, classes) !== argmax(b, i, classes)) ++other;
  }
  const spread = Math.sqrt(Math.max(squares / b.length - (sum / b.length) ** 2, 0));
  return {largest, relative: largest / spread, other};
}

const kFloatConvs = ['Conv', 'FusedConv', 'NhwcFusedConv'];

async function check(entry) {
  const expected = floats(`${entry.name}.out`);
  const plain = await run(entry, 'disabled');
  const fused = await run(entry, 'all');
  const classes = entry.output[1];
  const left = kFloatConvs.reduce((n, op) => n + (fused.ops[op] || 0), 0);
  return {
    name: entry.name,
    ours: compare(plain.values, expected, classes),
    fused: compare(fused.values, plain.values, classes),
    integer: fused.ops.QLinearConv || 0,
    left,
    ops: fused.ops,
  };
}

async function main() {
  const zoo = JSON.parse(fs.readFileSync(path.join(folder, 'zoo.json')));
  for (const entry of zoo) {
    if (only.length && !only.some((name) => entry.name.includes(name))) continue;
    try {
      const r = await check(entry);
      console.log(entry.name.padEnd(32), 'ours', r.ours.relative.toExponential(1), r.ours.other,
        'fused', r.fused.relative.toExponential(1), r.fused.other, 'int', r.integer, 'float', r.left,
        only.length ? JSON.stringify(r.ops) : '');
    } catch (e) {
      console.log(entry.name.padEnd(32), 'FAILED', e.message);
    }
  }
}

main();
