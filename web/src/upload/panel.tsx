// The upload in the corner of the page: progress, cancel, and instance by instance what was not taken and why.
import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { UploadInstance } from '../api/types';
import { navigate } from '../app/router';
import { bytes, count } from '../ui/format';
import { Icon } from '../ui/icons';
import { Progress } from '../ui/progress';
import { sayError } from '../ui/toast';
import './upload.css';
import { cancelUpload, startUpload, upload, type UploadState } from './uploader';
import { filesOfDrop, filesOfInput } from './walk';

// Leaving the page would end the upload: the browser asks first.
addEventListener('beforeunload', (event) => {
  if (upload.value?.running) event.preventDefault();
});

function headline(state: UploadState): string {
  if (state.running && state.reading) return 'The server is reading the files…';
  if (state.running) return `${bytes(state.sent)} of ${bytes(state.bytes)}`;
  if (state.failed) return 'The upload stopped';
  if (state.cancelled) return 'Cancelled';
  return 'Finished';
}

const noteWords = { conflict: 'Same UID, other bytes: kept and flagged', set_aside: 'Set aside', refused: 'Refused' };

function why(note: UploadInstance): string {
  const text = note.detail || (note.reason ?? '').replace(/_/g, ' ');
  return text ? `: ${text}` : '';
}

function Summary({ state }: { state: UploadState }): JSX.Element {
  const parts = [
    state.counts.stored && `${count(state.counts.stored, 'image')} stored`,
    state.counts.duplicate && `${state.counts.duplicate} already here`,
    state.counts.set_aside && `${state.counts.set_aside} set aside`,
    state.counts.conflict && `${state.counts.conflict} in conflict`,
    state.counts.refused && `${state.counts.refused} refused`,
  ].filter(Boolean);
  return <p class="upload-sum">{parts.join(' · ') || (state.running ? count(state.files, 'file') : 'Nothing was stored.')}</p>;
}

export function UploadPanel(): JSX.Element | null {
  const state = upload.value;
  if (!state) return null;
  const shown = state.notes.slice(0, 200);
  return (
    <section class="upload" aria-label="Upload">
      <header>
        <Icon name={state.running ? 'upload' : state.failed || state.counts.refused ? 'warn' : 'check'} />
        <strong>{headline(state)}</strong>
        <button type="button" class="small" onClick={cancelUpload}>{state.running ? 'Cancel' : 'Close'}</button>
      </header>
      {state.running && <Progress value={state.bytes ? state.sent / state.bytes : 1} label="Upload" />}
      <Summary state={state} />
      {state.failed && <p class="form-error">{state.failed}</p>}
      {shown.length > 0 && (
        <ul class="upload-notes">
          {shown.map((note, i) => (
            <li key={i}>
              <span class="upload-file" title={note.file}>{note.file || note.sop_uid || 'unnamed file'}</span>
              <span>{noteWords[note.status as keyof typeof noteWords] ?? note.status}{why(note)}</span>
            </li>
          ))}
          {state.notes.length > shown.length && <li>and {state.notes.length - shown.length} more</li>}
        </ul>
      )}
      {!state.running && state.cases.length > 0 && (
        <div class="upload-cases">
          {state.cases.slice(0, 5).map((id, i) => (
            <button type="button" class="small" key={id} onClick={() => { upload.value = null; navigate(`/cases/${id}`); }}>
              {state.cases.length === 1 ? 'Open the case' : `Open case ${i + 1} of ${state.cases.length}`}
            </button>
          ))}
        </div>
      )}
    </section>
  );
}

/** The two ways to choose without dragging. */
export function UploadButtons(): JSX.Element {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  const take = (input: HTMLInputElement | null) => {
    if (!input?.files) return;
    void startUpload(filesOfInput(input.files));
    input.value = '';
  };
  return (
    <>
      <input ref={files} class="visually-hidden" type="file" multiple aria-label="Files to upload" tabIndex={-1}
        data-testid="upload-files" onChange={() => take(files.current)} />
      <input ref={folder} class="visually-hidden" type="file" multiple aria-label="Folder to upload" tabIndex={-1}
        {...{ webkitdirectory: true }} onChange={() => take(folder.current)} />
      <div class="split">
        <button type="button" class="primary" onClick={() => files.current?.click()}><Icon name="upload" />Upload</button>
        <button type="button" class="primary" title="Upload a folder" aria-label="Upload a folder"
          onClick={() => folder.current?.click()}><Icon name="folder" /></button>
      </div>
    </>
  );
}

/** Makes everything inside a place to drop a zip, a folder or files. */
export function DropZone({ children }: { children: ComponentChildren }): JSX.Element {
  const over = useSignal(false);
  const depth = useRef(0);
  // Before the page is painted: a browser opens what is dropped where nobody takes it.
  useLayoutEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth.current += 1;
      over.value = true;
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth.current = Math.max(0, depth.current - 1);
      if (depth.current === 0) over.value = false;
    };
    const move = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event) || !event.dataTransfer) return;
      event.preventDefault();
      depth.current = 0;
      over.value = false;
      filesOfDrop(event.dataTransfer).then(startUpload, sayError);
    };
    addEventListener('dragenter', enter);
    addEventListener('dragleave', leave);
    addEventListener('dragover', move);
    addEventListener('drop', drop);
    return () => {
      removeEventListener('dragenter', enter);
      removeEventListener('dragleave', leave);
      removeEventListener('dragover', move);
      removeEventListener('drop', drop);
    };
  }, []);
  return (
    <>
      {children}
      {over.value && <div class="drop" aria-hidden="true"><div><Icon name="upload" size={40} />Drop a zip, a folder or DICOM files</div></div>}
    </>
  );
}
