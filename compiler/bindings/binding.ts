import { IndentationText, Project, QuoteKind, StructureKind, VariableDeclarationKind } from 'ts-morph';
import type { Manifest } from '../../artifact/manifest.ts';
import type { ModelIR } from '../ir/model.ts';

/** A value as TypeScript source. */
const literal = (value: unknown): string => (value === undefined ? 'undefined' : JSON.stringify(value));

function objectLiteral(values: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(values).map(([name, value]) => `  ${name}: ${literal(value)},`);
  return `{\n${lines.join('\n')}\n} as const`;
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
export function renderBinding(manifest: Manifest, ir: ModelIR): string {
  const project = new Project({
    useInMemoryFileSystem: true,
    manipulationSettings: { indentationText: IndentationText.TwoSpaces, quoteKind: QuoteKind.Single },
  });
  const constant = (name: string, initializer: string, doc: string) => ({
    kind: StructureKind.VariableStatement as const,
    isExported: true,
    declarationKind: VariableDeclarationKind.Const,
    docs: [doc],
    declarations: [{ name, initializer }],
    leadingTrivia: '\n',
  });
  const file = project.createSourceFile('index.ts', {
    statements: [
      {
        kind: StructureKind.ImportDeclaration,
        moduleSpecifier: 'bitnet-toolchain',
        namedImports: [
          { name: 'LoadOptions', isTypeOnly: true },
          { name: 'load', alias: 'loadArtifact' },
          { name: 'Model', isTypeOnly: true },
        ],
      },
      constant('model', objectLiteral(manifest.model), 'The shape of the model.'),
      constant(
        'targets',
        `${literal(Object.keys(manifest.targets))} as const`,
        'The machines that this artifact holds a program for.',
      ),
      constant('specialTokens', objectLiteral(specialTokens(ir)), 'Tokens with a meaning of their own.'),
      constant('chatTemplate', literal(ir.tokenizer.chatTemplate), "The model's Jinja chat template, if it has one."),
      {
        kind: StructureKind.Function,
        isExported: true,
        name: 'load',
        docs: [{ description: 'Opens this model; the best target that the machine can run is taken.' }],
        parameters: [
          {
            name: 'options',
            type: "Omit<LoadOptions, 'target'> & { target?: (typeof targets)[number] }",
            initializer: '{}',
          },
        ],
        returnType: 'Promise<Model>',
        statements: ['return loadArtifact(import.meta.dirname, options);'],
        leadingTrivia: '\n',
      },
    ],
  });
  file.insertText(
    0,
    `// Written by bitnet compile ${manifest.compiler} for ${JSON.stringify(manifest.model.name)}. Do not edit: compile again.\n`,
  );
  return file.getFullText();
}
