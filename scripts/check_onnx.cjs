// Runs the files that write_zoo made in ONNX Runtime, unfused and fused, and compares them with each
// other and with what this library computed.    node check_onnx.cjs FOLDER
'use strict';

const fs = require('fs');
const path = require('path');
const ort = require('onnxruntime-node');

const folder = process.argv[2];

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

// Differences of two results, and images that change their class: all, and those where the two best
// classes are further apart than the difference explains.
function compare(a, b, classes) {
  let largest = 0, error = 0, sum = 0, squares = 0, other = 0, clearlyOther = 0;
  for (let i = 0; i < a.length; ++i) {
    largest = Math.max(largest, Math.abs(a[i] - b[i]));
    error += (a[i] - b[i]) ** 2;
    sum += b[i];
    squares += b[i] * b[i];
  }
  for (let i = 0; i + classes <= a.length; i += classes) {
    const one = argmax(a, i, classes), two = argmax(b, i, classes);
    if (one === two) continue;
    ++other;
    clearlyOther += b[i + two] - b[i + one] > 2 * largest;
  }
  const n = b.length, spread = Math.sqrt(Math.max(squares / n - (sum / n) ** 2, 0));
  return {largest, rms: Math.sqrt(error / n), spread, other, clearlyOther};
}

const kFloatConvs = ['Conv', 'FusedConv', 'NhwcFusedConv'];
const kFloatTolerance = 1e-3;  // of the spread of the outputs
// How far outputs may move, in units of what quantization itself costs. Codes that fall on the other
// side of a boundary make others do so in the layers behind: deep networks with random weights end
// up with as much noise as quantization makes. Symmetric files have one bit less for most values.
const kSlack = {fused: 1.5, ours: 2.5, symmetric: 8};

async function check(entry) {
  const expected = floats(`${entry.name}.out`);
  const plain = await run(entry, 'disabled');
  const fused = await run(entry, 'all');
  const classes = entry.output[entry.output.length - 1];
  const inFloat = kFloatConvs.reduce((n, op) => n + (fused.ops[op] || 0), 0);
  const integer = fused.ops.QLinearConv || 0;
  const byFusing = compare(fused.values, plain.values, classes);
  const wrong = [];
  const isFloat = entry.form.startsWith('float');
  if (entry.output.length === 2) {  // else an image, which is NHWC here and NCHW there
    const ours = compare(plain.values, expected, classes);
    const slack = entry.form === 'qdq_symmetric' ? kSlack.symmetric : kSlack.ours;
    const limit = kFloatTolerance * ours.spread + (isFloat ? 0 : slack * entry.noise);
    if (!(ours.rms <= limit)) wrong.push(`differs from what was exported by ${ours.rms}`);
    if (isFloat && ours.other > 0) wrong.push(`${ours.other} images of another class`);
  }
  const noise = isFloat ? 0 : kSlack.fused * entry.noise;
  const limit = kFloatTolerance * byFusing.spread + noise;
  if (!(byFusing.rms <= limit)) wrong.push(`fusing moves outputs by ${byFusing.rms}`);
  if (byFusing.clearlyOther > 0) wrong.push(`fusing changes ${byFusing.clearlyOther} classes`);
  if (entry.step > 0 && byFusing.largest > 1.001 * entry.step) {
    wrong.push(`fusing moves outputs by ${byFusing.largest / entry.step} steps`);
  }
  if (entry.form === 'qdq' && (inFloat > 0 || integer === 0)) {
    wrong.push(`${inFloat} convolutions run in float32`);
  }
  return {name: entry.name, wrong, integer, inFloat, byFusing};
}

async function main() {
  const zoo = JSON.parse(fs.readFileSync(path.join(folder, 'zoo.json')));
  let failed = 0;
  console.log('file                              convolutions in int8, float32   moved by fusing');
  for (const entry of zoo) {
    let result;
    try {
      result = await check(entry);
    } catch (e) {
      result = {name: entry.name, wrong: [e.message], integer: 0, inFloat: 0, byFusing: {rms: NaN}};
    }
    const {name, wrong, integer, inFloat, byFusing} = result;
    console.log(name.padEnd(36), String(integer).padStart(17), String(inFloat).padStart(9),
      byFusing.rms.toExponential(1).padStart(17), wrong.length ? `WRONG: ${wrong.join('; ')}` : '');
    failed += wrong.length > 0;
  }
  console.log(`${zoo.length - failed} passed, ${failed} failed`);
  process.exit(failed > 0 || zoo.length === 0 ? 1 : 0);
}

main();
