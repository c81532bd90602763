import type { Manifest } from '../../artifact/manifest.ts';
import type { ModelIR } from '../ir/model.ts';

/** A JSON value as TypeScript source. */
function literal(value: unknown): string {
  if (typeof value === 'string')
    return `'${JSON.stringify(value).slice(1, -1).replace(/\\"/g, '"').replace(/'/g, "\\'")}'`;
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  const fields = Object.entries(value).map(([name, field]) => `${name}: ${literal(field)}`);
  return `{ ${fields.join(', ')} }`;
}

/** A field a line; ts-morph indents them. */
function objectLiteral(values: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}: ${literal(value)},\n`);
  return `{\n${lines.join('')}} as const`;
}

function specialTokens({ tokenizer }: ModelIR) {
  const named = (id: number | null) => (id === null ? null : { id, text: tokenizer.tokens[id] });
  return {
    bos: named(tokenizer.bos),
    eos: named(tokenizer.eos),
    eot: named(tokenizer.eot),
    unknown: named(tokenizer.unknown),
    padding: named(tokenizer.padding),
  };
}

/** Writes `index.ts` of an artifact: the model's constants with literal types, and a `load()` bound to the folder. */
export async function renderBinding(manifest: Manifest, ir: ModelIR): Promise<string> {
  // Loaded when something is written: it takes longer than a compilation that has nothing to do.
  const { IndentationText, Project, QuoteKind, VariableDeclarationKind } = await import('ts-morph');
  const project = new Project({
    useInMemoryFileSystem: true,
    manipulationSettings: { indentationText: IndentationText.TwoSpaces, quoteKind: QuoteKind.Single },
  });
  const name = JSON.stringify(manifest.model.name);
  const file = project.createSourceFile('index.ts');
  file.addImportDeclaration({
    moduleSpecifier: 'bitnet-toolchain',
    namedImports: [
      { name: 'LoadOptions', isTypeOnly: true },
      { name: 'load', alias: 'loadArtifact' },
      { name: 'Model', isTypeOnly: true },
    ],
  });
  const addConstant = (name: string, initializer: string, doc: string) =>
    file.addVariableStatement({
      isExported: true,
      declarationKind: VariableDeclarationKind.Const,
      docs: [doc],
      declarations: [{ name, initializer }],
      leadingTrivia: '\n',
    });
  const targets = `${literal(Object.keys(manifest.targets))} as const`;
  addConstant('model', objectLiteral(manifest.model), 'The shape of the model.');
  addConstant('targets', targets, 'The machines that this artifact holds a program for.');
  addConstant('specialTokens', objectLiteral(specialTokens(ir)), 'Tokens with a meaning of their own.');
  addConstant('chatTemplate', literal(ir.tokenizer.chatTemplate), "The model's Jinja chat template, if it has one.");
  file.addFunction({
    isExported: true,
    name: 'load',
    docs: ['Opens this model; the best target that the machine can run is taken.'],
    parameters: [
      {
        name: 'options',
        type: "Omit<LoadOptions, 'target'> & { target?: (typeof targets)[number] }",
        initializer: '{}',
      },
    ],
    returnType: 'Promise<Model>',
    statements: ['return loadArtifact(import.meta.dirname, options);'],
  });
  file.insertText(0, `// Written by bitnet compile ${manifest.compiler} for ${name}. Do not edit: compile again.\n`);
  file.formatText({ indentSize: 2 });
  return file.getFullText().replace(/\n{3,}/g, '\n\n');
}
