import type { JSX } from 'preact';
export default function AdminPage({ tab }: { tab: string }): JSX.Element { return <p>{tab}</p>; }
