//! The products of all layers as a WebAssembly module with SIMD, whose loops have the sizes of the
//! model. Function n computes layer n's sums (runtime.js does the rest) for `count` characters
//! whose values lie one after another from the address `first` on. All characters use four rows of
//! weights before the next four are read.
use super::layers::{LANES, Packed, Packing, ROWS};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstructionSink, MemArg, MemArgTarget, MemoryType, Module, TypeSection, ValType,
};

/// Bytes of a number.
const NUMBER: usize = size_of::<f32>();
/// Numbers of a vector.
const VECTOR: usize = 4;

// The locals of a function; the first two are its parameters.
const FIRST: u32 = 0;
const COUNT: u32 = 1;
/// Address of the rows of weights that are used.
const W: u32 = 2;
/// Number of the expert, times the size of a number.
const EXPERT: u32 = 3;
/// Offset of the inputs that are used.
const X: u32 = 4;
/// Address of a character's values, and the number of characters to come.
const AT: u32 = 5;
const LEFT: u32 = 6;
/// Address of outputs and of weights, and the end of the weights.
const Y: u32 = 7;
const V: u32 = 8;
const END: u32 = 9;
/// The expert's share.
const SHARE: u32 = 10;
/// Inputs times share, the first of [`ROWS`] vectors.
const FACTOR: u32 = 11;

/// The module. It imports `page.memory`, which begins with the weights.
pub(super) fn module(packed: &Packed) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 2], []);
    let mut imports = ImportSection::new();
    let memory = MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("page", "memory", EntityType::Memory(memory));
    let (mut functions, mut exports, mut codes) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for (index, layer) in packed.layers.iter().enumerate() {
        functions.function(0);
        exports.export(&index.to_string(), ExportKind::Func, index as u32);
        codes.function(&products(layer, packed.stride));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&codes);
    module.finish()
}

/// The function of a layer; `stride` numbers lie between two characters.
fn products(layer: &Packing, stride: usize) -> Function {
    let vectors = u32::try_from(ROWS).expect("a few");
    let mut function = Function::new([(8, ValType::I32), (1, ValType::F32), (vectors, ValType::V128)]);
    let (row, into) = (layer.width * NUMBER, layer.into * NUMBER);
    let code = &mut function.instructions();
    characters(code, stride, |code| {
        code.local_get(AT).i32_const(into as i32).i32_add().i32_const(0).i32_const(row as i32).memory_fill(0);
    });
    code.i32_const((layer.weights * NUMBER) as i32).local_set(W);
    times(code, EXPERT, layer.experts * NUMBER, NUMBER, |code| {
        for &(place, size) in &layer.inputs {
            times(code, X, size * NUMBER, ROWS * NUMBER, |code| {
                characters(code, stride, |code| {
                    code.block(BlockType::Empty);
                    if let Some(gate) = layer.gate {
                        code.local_get(AT).local_get(EXPERT).i32_add().f32_load(number(gate * NUMBER));
                        code.local_tee(SHARE).f32_const(0.0.into()).f32_eq().br_if(0);
                    }
                    for i in 0..ROWS {
                        code.local_get(AT).local_get(X).i32_add().f32_load(number((place + i) * NUMBER));
                        if layer.gate.is_some() {
                            code.local_get(SHARE).f32_mul();
                        }
                        code.f32x4_splat().local_set(FACTOR + i as u32);
                    }
                    code.local_get(AT).i32_const(into as i32).i32_add().local_set(Y);
                    code.local_get(W).local_tee(V).i32_const(row as i32).i32_add().local_set(END);
                    code.loop_(BlockType::Empty);
                    for lane in (0..LANES).step_by(VECTOR).map(|lane| lane * NUMBER) {
                        code.local_get(Y).local_get(Y).v128_load(vector(lane));
                        for i in 0..ROWS {
                            code.local_get(V).v128_load(vector(i * row + lane));
                            code.local_get(FACTOR + i as u32).f32x4_mul().f32x4_add();
                        }
                        code.v128_store(vector(lane));
                    }
                    code.local_get(Y).i32_const((LANES * NUMBER) as i32).i32_add().local_set(Y);
                    code.local_get(V).i32_const((LANES * NUMBER) as i32).i32_add().local_tee(V);
                    code.local_get(END).i32_lt_u().br_if(0).end().end();
                });
                code.local_get(W).i32_const((ROWS * row) as i32).i32_add().local_set(W);
            });
        }
    });
    code.end();
    function
}

/// A loop over all characters.
fn characters(code: &mut InstructionSink, stride: usize, body: impl FnOnce(&mut InstructionSink)) {
    code.local_get(FIRST).local_set(AT).local_get(COUNT).local_set(LEFT);
    code.loop_(BlockType::Empty);
    body(code);
    code.local_get(AT).i32_const((stride * NUMBER) as i32).i32_add().local_set(AT);
    code.local_get(LEFT).i32_const(1).i32_sub().local_tee(LEFT).br_if(0).end();
}

/// A loop in which `counter` goes from 0 in steps up to `end`.
fn times(code: &mut InstructionSink, counter: u32, end: usize, step: usize, body: impl FnOnce(&mut InstructionSink)) {
    code.i32_const(0).local_set(counter).loop_(BlockType::Empty);
    body(code);
    code.local_get(counter).i32_const(step as i32).i32_add().local_tee(counter);
    code.i32_const(end as i32).i32_lt_u().br_if(0).end();
}

fn number(offset: usize) -> MemArg {
    MemArg { offset: offset as u64, align: 2, target: MemArgTarget::Memory(0), ordering: None }
}

fn vector(offset: usize) -> MemArg {
    MemArg { offset: offset as u64, align: 4, target: MemArgTarget::Memory(0), ordering: None }
}
