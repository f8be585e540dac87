// Our own line icons on a 20-unit grid; they take the colour of the text.
import type { JSX } from 'preact';

const paths = {
  back: 'M12.5 4 6.500 10l6 6',
  close: 'M5 5l10 10M15 5 5 15',
  crosshair: 'M10 2v5M10 13v5M2 10h5M13 10h5',
  window: 'M10 3a7 7 0 1 0 0 14zM10 3a7 7 0 0 1 0 14',
  pan: 'M10 2.500v15M2.500 10h15M7.500 5 10 2.500 12.500 5M7.500 15l2.500 2.500 2.500-2.500M5 7.500 2.500 10 5 12.500M15 7.500l2.500 2.500-2.500 2.500',
  zoom: 'M8.500 3.500a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM12.300 12.300 17 17M6.500 8.500h4M8.500 6.500v4',
  reset: 'M4 10a6 6 0 1 0 2-4.500M4 3v3.500h3.500',
  eye: 'M2 10s3-5 8-5 8 5 8 5-3 5-8 5-8-5-8-5zM10 7.700a2.300 2.300 0 1 0 0 4.600 2.300 2.300 0 0 0 0-4.600z',
  hidden: 'M3 3l14 14M5 6.500C3 8 2 10 2 10s3 5 8 5c1.300 0 2.500-.3 3.500-.8M8.500 5.200A8 8 0 0 1 10 5c5 0 8 5 8 5s-.6 1-1.800 2.200',
  help: 'M7.500 7.500a2.500 2.500 0 1 1 3.600 2.200c-.8.4-1.100.9-1.100 1.800M10 14.500v.1M10 2.500a7.500 7.500 0 1 0 0 15 7.500 7.500 0 0 0 0-15z',
  sun: 'M10 6.500a3.500 3.500 0 1 0 0 7 3.500 3.500 0 0 0 0-7zM10 2v1.500M10 16.500V18M2 10h1.500M16.500 10H18M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100',
  moon: 'M16.500 12A7 7 0 0 1 8 3.500 7 7 0 1 0 16.500 12z',
  upload: 'M10 13V3M6 7l4-4 4 4M3.500 13v3.500h13V13',
  user: 'M10 3.500a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM4 17c.5-3.500 3-5 6-5s5.500 1.500 6 5',
  max: 'M3.500 8V3.500H8M12 3.500h4.500V8M16.500 12v4.500H12M8 16.500H3.500V12',
  min: 'M8 3.500V8H3.500M16.500 8H12V3.500M12 16.500V12h4.500M3.500 12H8v4.500',
  warn: 'M10 3 2.500 16.500h15zM10 8.500v4M10 14.500v.1',
  check: 'M4 10.500 8 14.500 16 6',
  retry: 'M16 10a6 6 0 1 1-2-4.500M16 3v3.500h-3.500',
  side: 'M3 4h14v12H3zM8 4v12',
  search: 'M8.500 3.500a5 5 0 1 0 0 10 5 5 0 0 0 0-10zM12.300 12.300 17 17',
  plus: 'M10 4v12M4 10h12',
  folder: 'M2.500 5h5l1.500 2h8.500v9h-15z',
  dot: 'M10 7a3 3 0 1 0 0 6 3 3 0 0 0 0-6z',
  out: 'M8 4H4v12h4M11 6.500 14.500 10 11 13.500M14.500 10H8',
  gear: 'M10 7.500a2.500 2.500 0 1 0 0 5 2.500 2.500 0 0 0 0-5zM10 2.500v2M10 15.500v2M2.500 10h2M15.500 10h2M4.700 4.700l1.400 1.400M13.900 13.900l1.400 1.400M4.700 15.300l1.400-1.400M13.900 6.100l1.400-1.400',
};

export type IconName = keyof typeof paths;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }): JSX.Element {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={paths[name]} />
    </svg>
  );
}

/** The mark: a K whose strokes are parted by the width of a saw blade. */
export function Mark({ size = 22 }: { size?: number }): JSX.Element {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path class="mark-bone" d="M8 4v11M8 18.600V28M24.500 4 12 14.600M12 19l12.500 9" />
      <path class="mark-cut" d="M3 16.800h26" />
    </svg>
  );
}
