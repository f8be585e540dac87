// Pieces the admin pages share.
import { useSignal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import type { Role } from '../api/types';
import { Dialog } from '../ui/dialog';
import { Icon } from '../ui/icons';

export const roleWords: Record<Role, string> = {
  admin: 'Administrator', technician: 'Technician', planner: 'Planner', surgeon: 'Surgeon', viewer: 'Viewer',
};

const roleHints: Record<Role, string> = {
  admin: 'Everything, also accounts and tokens',
  technician: 'Uploads, jobs and DICOM peers',
  planner: 'Uploads, jobs and plans',
  surgeon: 'Looks, comments and signs',
  viewer: 'Looks',
};

export function RoleSelect({ value, name, onChange, label }: {
  value?: Role; name?: string; label: string; onChange?: (role: Role) => void;
}): JSX.Element {
  return (
    <select name={name} aria-label={label} value={value} onChange={(event) => onChange?.(event.currentTarget.value as Role)}>
      {(Object.keys(roleWords) as Role[]).map((role) => <option key={role} value={role} title={roleHints[role]}>{roleWords[role]}</option>)}
    </select>
  );
}

/** Something that is shown once: a password or a token, with a button that copies it. */
export function Secret({ title, note, secret, onClose }: { title: string; note: string; secret: string; onClose: () => void }): JSX.Element {
  const copied = useSignal(false);
  const copy = async () => {
    await navigator.clipboard?.writeText(secret);
    copied.value = true;
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <p>{note}</p>
      <p class="secret"><code>{secret}</code></p>
      <div class="form-foot">
        {'clipboard' in navigator && <button type="button" onClick={() => void copy()}>{copied.value ? 'Copied' : 'Copy'}</button>}
        <button type="button" class="primary" onClick={onClose}>I have it</button>
      </div>
    </Dialog>
  );
}

/** A button that asks once more before it acts. */
export function SureButton({ children, ask, onSure }: { children: ComponentChildren; ask: string; onSure: () => void }): JSX.Element {
  const asking = useSignal(false);
  if (!asking.value) return <button type="button" class="small" onClick={() => { asking.value = true; }}>{children}</button>;
  return (
    <span class="sure">
      <button type="button" class="small danger" onClick={() => { asking.value = false; onSure(); }}>{ask}</button>
      <button type="button" class="small" onClick={() => { asking.value = false; }}>Keep</button>
    </span>
  );
}

export function ListError({ text, onRetry }: { text: string; onRetry: () => void }): JSX.Element | null {
  if (!text) return null;
  return (
    <div class="notice error" role="alert"><Icon name="warn" /><span>{text}</span>
      <button type="button" class="small" onClick={onRetry}>Try again</button></div>
  );
}

/** The text fields of a form by name, trimmed. */
export function fieldsOf(form: HTMLFormElement): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of new FormData(form)) if (typeof value === 'string') out[name] = value.trim();
  return out;
}
