//! The table of diagnostic codes.

/// Every diagnostic code with the paragraph that `rescc explain CODE` prints.
///
/// E00xx text · E01xx graph verifier · E02xx shape rules · E03xx import · E04xx passes and lowering ·
/// E05xx program verifier · E06xx kernel verifier · E07xx back ends and linking · E08xx files and limits ·
/// E09xx data (images, labels, data sets).
pub const CODES: &[(&str, &str)] = &[
    (
        "E0001",
        "A character that begins no token of the text form. Names begin with % (values) or @ (graphs, programs, kernels); strings stand in double quotes.",
    ),
    ("E0002", "A string that does not end on its line. Write \\n for a line break inside a string."),
    ("E0003", "A token longer than 64 KiB. No name or number needs that; the file is probably not a rescc model."),
    (
        "E0004",
        "The parser expected something else at this place; the message says what. docs/ir.md has the grammar with examples.",
    ),
    (
        "E0005",
        "A number, size or other value that cannot be read as such or is out of range: dimensions and element counts end at 2^31, sizes of pictures at 65536, numbers of an index at 2^40.",
    ),
    ("E0006", "The file does not begin with `rir 1`, or is of another version of the format."),
    (
        "E0007",
        "There is no attribute, setting or epilogue step of that name here. The help names the nearest known one.",
    ),
    (
        "E0008",
        "A name is defined twice, or an attribute or a line about the whole file (weights, preprocess, labels) given twice. Every value, buffer and kernel of a file has a name of its own.",
    ),
    (
        "E0009",
        "A name is used before it is defined, or never defined. Statements stand in an order in which everything is computed before it is read.",
    ),
    (
        "E0010",
        "There is no such element type, register type or layout. Element types are f32, f64, i32, u8; layouts are written like nChw8c, OIhw8i16o, Oi32o.",
    ),
    ("E0011", "There is no op or kernel instruction of that name. The help names the nearest known one."),
    ("E0012", "The op takes another number of operands or gives another number of results."),
    ("E0013", "The op needs an attribute that has no default."),
    (
        "E0014",
        "The type written after the colon is not the one that follows from operands and attributes. Types in the text are checked, not trusted.",
    ),
    ("E0101", "A value is read before it is computed, or is never computed. The order of a graph must be topological."),
    ("E0102", "Names of values are unique and not empty."),
    ("E0103", "A node has another number of operands than its op takes."),
    ("E0104", "A node lacks an attribute of its op, or has one too many or of another kind."),
    (
        "E0105",
        "The type of a result is not the one that the op's shape rule gives, or the layout of an input, parameter or result does not fit its shape: a blocked layout needs a channel count that the block divides.",
    ),
    (
        "E0106",
        "An epilogue step stands on an op that has none, names an operand of another step, or an operand of the wrong type. Bias and scale have one element for each output channel; an added tensor has the type of the result.",
    ),
    ("E0107", "A graph has at least one output, and each is an input, a parameter or computed by a live node."),
    (
        "E0108",
        "The batch symbol N ranges over numbers from 1 up, is only ever the first dimension, and does not occur in parameters: a tensor of the weights has one size.",
    ),
    (
        "E0198",
        "A pass asked for an edit of the graph that cannot be: a value replaced by one of another element type or shape, or a node that would depend on itself. This is a fault of the compiler, not of the model; `--passes-limit` and `bisect` find the pass.",
    ),
    (
        "E0201",
        "An operand has a shape that the op does not take: an image is [N,C,H,W], a filter [O,C,R,S], rows are [N,I] and a matrix [O,I]. Only the first dimension of an image may be the batch N. A softmax does not run along the batch.",
    ),
    (
        "E0202",
        "The groups of a convolution split its input channels and its output channels into equal parts, so groups must divide both.",
    ),
    (
        "E0203",
        "A filter [O,C,R,S] has as many input channels C as the image has channels in one group. A depthwise filter has C = 1 and groups equal to the channels of the image.",
    ),
    (
        "E0204",
        "A window of k taps with dilation d reaches over d(k - 1) + 1 positions; the padded image must be at least that long, the stride and the dilation at least 1.",
    ),
    (
        "E0205",
        "The op computes with floats, and all its float operands have one element type. Put `cast` before an operand of another type. A picture for normalize_u8 is u8.",
    ),
    (
        "E0206",
        "The memory layout of an operand is one that the op does not read: images are plain or blocked by channels, filters plain or OIhw, matrices plain or Oi, all else plain. `reorder` changes the layout.",
    ),
    (
        "E0207",
        "A vector with one number for each channel has the shape [C], where C is the number of channels it belongs to.",
    ),
    (
        "E0208",
        "The operands of an addition have one element type and one shape; nothing is broadcast. This holds for the add step of an epilogue too.",
    ),
    (
        "E0209",
        "An attribute has a value for which the op is not defined, e.g. a padding that is as large as the window of a pool, lower bounds above upper bounds, a divisor of 0.",
    ),
    (
        "E0210",
        "A reshape keeps the number of elements, for every batch: the same number of symbols N on both sides and the same product of the other dimensions.",
    ),
    ("E0211", "A dense layer with the weight [O,I] takes rows of I features."),
    (
        "E0212",
        "A blocked layout needs a channel count that the block divides, OIhw layouts need filters with divisible channels, Oi layouts need a matrix.",
    ),
    (
        "E0301",
        "The network's name is not known, or its depth does not exist: ImageNet residual and plain networks have 18, 34, 50, 101 or 152 layers, VGG has 16 or 19, CIFAR networks have 6n+2.",
    ),
    ("E0302", "A size of the network (classes, width, input) is zero or beyond its limit."),
    (
        "E0303",
        "The names and shapes of a state dict fit no network that is known. `--arch` names the network; foreign names need a file of rules for `--rename`.",
    ),
    (
        "E0304",
        "The network needs a tensor that the file does not have. Either the file is of another network (`--arch`, `--shortcut`), or its names are foreign (`--rename`).",
    ),
    (
        "E0305",
        "The file has a tensor that the network does not use. Weights that are silently dropped would give wrong results, so import stops. Counters of batches are the one exception.",
    ),
    ("E0306", "A tensor has another shape than the network needs: depth, width, classes or shortcut option differ."),
    (
        "E0307",
        "A tensor has elements of a type that weights cannot have. f32, f64, f16 and bf16 are read; quantised weights are not.",
    ),
    (
        "E0308",
        "A file of rules for `--rename` is faulty. Each line is `PATTERN -> NAME`; `*` stands for one part of a dotted name and `$1` for what it matched; a pattern between slashes is a regular expression; an empty right side drops the tensor.",
    ),
    (
        "E0309",
        "The specification of preprocessing is faulty or does not fit the network's input. It is a preset (imagenet, imagenet-v2, cifar, caffe, tf), words such as `crop=224`, or a preset with words that change it.",
    ),
    (
        "E0310",
        "The class names do not fit: there must be one for each class, in a text file with a class a line or in a table with the columns `class` and `name`.",
    ),
    (
        "E0311",
        "The header of a safetensors file is damaged, or bytes are missing or left over. Nothing is read from a file whose header and length disagree.",
    ),
    (
        "E0312",
        "The header of a safetensors file lies about a tensor: names must be unique, types known, and the ranges of all tensors must tile the data without holes or overlap.",
    ),
    (
        "E0314",
        "A pickle ends too early or contradicts itself, or has a tensor of more than 8 dimensions: the file is truncated or damaged.",
    ),
    (
        "E0315",
        "A pickle uses an instruction that no state dict needs. Only the instructions of plain data are interpreted.",
    ),
    (
        "E0316",
        "A pickle imports a name that is no plain data; loading it with pickle would run code. rescc has no imports: nothing was run. A file that names os, subprocess or the like is an attack: do not load it elsewhere.",
    ),
    (
        "E0317",
        "The file is a whole pickled model or a TorchScript archive: Python classes or programs, not weights. Save `model.state_dict()` instead.",
    ),
    (
        "E0318",
        "The zip archive of a .pth file is damaged or unlike what torch.save writes: entries must be stored, unencrypted, unique, disjoint, under one prefix, and have the checksum that both of their headers give.",
    ),
    (
        "E0319",
        "The file is in the tar form of PyTorch 0.1.1 and before, which is not read. Load it with an old PyTorch and save it again.",
    ),
    ("E0320", "The file is a pickle, but not one that torch.save of a little-endian machine has written."),
    (
        "E0321",
        "A tensor of a .pth file reaches beyond its storage, its storage is not in the file, or its name is too long or there twice.",
    ),
    (
        "E0322",
        "The file holds no dict of names to tensors, neither at its root nor under a usual key such as `state_dict`.",
    ),
    ("E0323", "The file is in a format that is not read. .safetensors is, and .pth, .pt, .th of torch.save."),
    (
        "E0324",
        "The state dict is of a relative of the ResNets whose layers differ (deep stem, average pooling in shortcuts, squeeze and excitation, groups, double width). Nothing is guessed about it.",
    ),
    ("E0401", "There is no graph pass of that name. The help of the message names all of them."),
    ("E0402", "A model was to be compiled for a batch outside the range of `N` that its graph states."),
    (
        "E0403",
        "A constant cannot be computed at compile time because a tensor is missing from the weights, or has another element type or size than the graph says.",
    ),
    ("E0404", "A node has more operands than a kernel can have parameters. Split it into several."),
    (
        "E0405",
        "The replay of a memory plan found a buffer that is overwritten before it was read for the last time. This is a fault of the compiler, not of the model.",
    ),
    (
        "E0406",
        "An op on the way from a parameter to the loss has no gradient, or not in this form. Gradients are taken of a network before passes change it: convolutions, batch norms and pools as they are written, without epilogues.",
    ),
    (
        "E0407",
        "A graph cannot be trained: it has not one input and one output of logits, no parameter is left to be trained, or an option names a tensor that it lacks.",
    ),
    (
        "E0408",
        "The activations of a training step do not fit into what `--recompute` allows, whatever is computed twice. What a layer and its gradient need at once grows with the batch.",
    ),
    (
        "E0501",
        "A call of a program does not fit its kernel: another number of arguments, another element type or number of bytes.",
    ),
    ("E0502", "A program writes an input or a constant; both belong to somebody else."),
    ("E0503", "A program reads a buffer that no earlier call has written."),
    ("E0504", "A call writes a buffer that it also uses through another parameter."),
    ("E0505", "A buffer does not lie aligned inside the arena or the constants."),
    ("E0506", "Two buffers share memory while both are alive, or a buffer is used while it is not."),
    ("E0507", "An output of a program is never written."),
    ("E0508", "A kernel has more parameters than the runtime passes."),
    (
        "E0601",
        "A kernel declares something outside its limits: a dimension, the number of tasks or of lanes, a list of parameters that is not the list of in, out and inout buffers, or a view that is not declared like the buffer it looks at.",
    ),
    (
        "E0602",
        "A register of a kernel must be defined once, before its uses, and be used only in the block that defines it or in a block inside that one. Values leave a loop only as its results.",
    ),
    (
        "E0603",
        "Types in a kernel must agree exactly: element type and number of lanes. Use splat from one lane to several, convert between element types. Integers have add, sub, mul, max, min and neg only.",
    ),
    (
        "E0604",
        "A loop of a kernel is malformed: its variable belongs to another loop or is used outside, its step is not positive, a bound is missing, or the values that it carries do not correspond to its initial values, yields and results.",
    ),
    (
        "E0605",
        "An access of a kernel is malformed: it has another number of indices than the buffer has dimensions, uses a view outside its block, or stores to an in parameter.",
    ),
    (
        "E0606",
        "An access of a kernel could not be proven to lie inside its buffer. The message names the dimension, the index form, the value that it may reach and the length; the notes give the ranges of the loop variables. Narrow the loop's bounds: lo may be a max and hi a min of several forms, and the proof uses them. A kernel whose proofs take more than a million steps is refused as well: it has too many accesses that differ by more than numbers.",
    ),
    (
        "E0607",
        "A kernel may read an element of scratch or of an out parameter that the same task has not written before. The proof follows loops that fill boxes; what an earlier iteration of a loop that is still running wrote does not count.",
    ),
    (
        "E0608",
        "Two tasks of a kernel may touch the same element, and at least one of them writes it. The proof needs the indices of every store to tell the task: each coefficient must be larger than all that the smaller terms and the vector's lanes can add up to.",
    ),
    (
        "E0690",
        "The interpreter was given inputs that do not fit the kernel's in and inout parameters in number or size.",
    ),
    (
        "E0691",
        "While the interpreter ran a kernel, an index left its dimension. The kernel verifier should have refused the kernel.",
    ),
    (
        "E0692",
        "While the interpreter ran a kernel, it read an element of scratch or of an out parameter that the same task had not written.",
    ),
    (
        "E0693",
        "While the interpreter ran a kernel, two tasks touched one element and at least one of them wrote it: the result would depend on the order of tasks.",
    ),
    ("E0694", "A kernel ended without having written every element of its out parameters."),
    (
        "E0696",
        "The interpreter found a fault of a program's memory plan: a buffer used outside its lifetime, overwritten before it was read, or an argument that does not fit.",
    ),
    ("E0697", "An input or a tensor does not fit the graph that the interpreter was asked to run."),
    (
        "E0701",
        "A code generator failed on a kernel that the verifier accepts, or could not write its object. This is a bug of rescc; `--backend` chooses the other code generator meanwhile.",
    ),
    (
        "E0702",
        "The code generator does not know the target, or this machine. The CPU targets are x86-64-v2, x86-64-v3 and x86-64-v4.",
    ),
    ("E0703", "The code generator lacks an operation for an element type."),
    (
        "E0704",
        "A kernel was to be run on buffers that do not fit its parameters: their number, size, direction or alignment differs. In a program, a call's arguments leave their memory or would write to inputs or weights.",
    ),
    (
        "E0705",
        "The system gave no memory that may be executed, which running a network inside rescc needs. Compile it to a file instead.",
    ),
    (
        "E0706",
        "Compiled kernels could not be loaded into this process: the machine lacks instructions of the target, or the object is not what a back end makes.",
    ),
    (
        "E0708",
        "The linker refused to make the executable or library; its own words follow. The built-in linker makes executables only: use `--linker cc` or `--linker lld` for a shared library.",
    ),
    (
        "E0709",
        "The linker that was asked for is not installed. Without `--linker` the built-in one is used, which needs no other program.",
    ),
    ("E0710", "The model cannot become an artefact: that has one f32 image as input and one f32 output."),
    ("E0711", "The target is not known. `rescc targets` lists those that are."),
    ("E0712", "This rescc was built without LLVM. Cranelift compiles everything, more slowly running."),
    (
        "E0790",
        "A layer of the compiled code differs from the float64 reference by more than rounding explains: a bug of rescc.",
    ),
    ("E0791", "Outputs differ from the expected ones by more than the tolerance."),
    ("E0792", "A model is slower than in the baseline by more than `--fail-above` allows."),
    (
        "E0793",
        "A kernel of the templates does not reach the share of the estimated speed that `hwbench --assert` asks for.",
    ),
    ("E0800", "A bug of rescc. Please report it with the command line and, if you may, the file; nothing was written."),
    (
        "E0801",
        "A limit was reached: the size of a file, or the number of objects in it. Limits keep hostile files from using up the machine.",
    ),
    ("E0802", "There is no such diagnostic code."),
    (
        "E0803",
        "A file could not be written. Outputs are written beside their destination and renamed, so nothing partial stays and an old file is as it was.",
    ),
    ("E0804", "What was asked for is valid, but not supported by this version."),
    ("E0805", "A file could not be read, or is no regular file."),
    (
        "E0806",
        "The weights file of a model is missing, not named, or at a place where it may not be: it must be a regular file at or below the directory of the .rir, after symbolic links are followed.",
    ),
    ("E0807", "A text file is not UTF-8."),
    (
        "E0808",
        "The weights file is not the one that the model was made with: its sha256 differs from that in the `weights` line.",
    ),
    ("E0809", "The weights file lacks a tensor that the model names, or has it with another type or shape."),
    ("E0810", "The model has no value of that name."),
    ("E0811", "An input or expected output does not have the form that the model takes."),
    ("E0812", "The model does not say how a picture becomes its input, or takes no pictures."),
    ("E0813", "A model is a .rir file with exactly one graph."),
    (
        "E0814",
        "The specification of an op is faulty. It is the op's name, the shapes of its operands, attributes and an epilogue: 'conv2d 1x64x56x56 64x64x3x3 pad=1,1,1,1 epilogue=[bias,add,relu]'. N as a first dimension stands for the batch.",
    ),
    (
        "E0815",
        "A baseline is a document that `rescc bench --json` printed about the same network (or kind of op) and target, with at least one run of the same batch, threads and weights.",
    ),
    (
        "E0816",
        "An executable that was to be measured did not start, failed, or does not answer `--bench --json` as those that rescc makes do.",
    ),
    (
        "E0817",
        "The plan is none that `rescc tune` made: it is not JSON, a field is missing or unknown, or a number is impossible.",
    ),
    (
        "E0818",
        "The plan was measured for another target. Register tiles differ from target to target, so it does not apply.",
    ),
    (
        "E0819",
        "What a command writes would replace what it reads or something else that it writes, or would mix with its result or JSON document on standard output.",
    ),
    ("E0820", "The command line is none that rescc takes. The message says where; --help shows what it takes."),
    ("E0901", "A picture or array is damaged or in no format that is read."),
    ("E0902", "A picture or data set is beyond the limits."),
    ("E0903", "A picture is valid, but of a kind that is not read."),
    (
        "E0904",
        "A file of a data set is damaged: it ends within a record, or a label is not one of its classes. The message says where.",
    ),
    (
        "E0905",
        "A data set has another number of classes than the network, or the pictures to evaluate on have other classes than those to train on.",
    ),
    (
        "E0906",
        "A data set does not fit the network's input, or has no pictures where they are expected: DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg, or DIR/CLASS/*.jpg.",
    ),
    (
        "E0907",
        "A checkpoint is damaged, or the folder has none: a byte is not what it was when it was written. Or it says that more steps are done than its run has. Older checkpoints lie beside it, and --resume takes any of them.",
    ),
    (
        "E0908",
        "A checkpoint or a model in the folder of a run belongs to another network or to other data: a run goes on only with the model and the --data that it was begun with. Weights that --freeze leaves as they are belong to the network.",
    ),
    (
        "E0909",
        "A run goes on under the settings that it was begun with, or its result would be that of neither. --resume needs none of them to be repeated. A folder that holds a run takes no other one.",
    ),
    (
        "E0910",
        "The loss of a training step is not a number, or infinite: the learning rate is too high for the network as it is now. The state before that step is kept. With --on-nan skip such batches are left out, and counted.",
    ),
    (
        "E0911",
        "The settings of a training run make no sense together, e.g. a batch that is larger than the data set, or a mean that the data does not have.",
    ),
    (
        "E0912",
        "A network cannot look at pictures of another size: some layer takes only the size that it was made for. Convolutions and pools up to a global average pool take any.",
    ),
    ("E0913", "A log is not one that `rescc train` writes: a column is missing, or a field is no number."),
    (
        "E0914",
        "The responses of a network are those of its 3x3 convolutions, after batch norm where there is one. A graph whose passes have fused what follows into the convolutions has none to see.",
    ),
    (
        "E0915",
        "A step in shards cuts the batch into equal parts and adds their gradients as a binary tree: --shards is a power of two that divides --batch, and each process of a run over MPI computes as many of them as any other.",
    ),
    (
        "E0916",
        "This rescc was built without MPI. Training on several machines needs the system's MPI and the cargo feature `mpi`; --shards works without.",
    ),
    (
        "E0917",
        "The processes of a run over MPI would not train one network: each reads the model, the data and the checkpoint that its own command line names, on its own machine, and all must be the same. So must the target that code is generated for, or the bits would depend on which machine computes which shard.",
    ),
];
