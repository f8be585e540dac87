// Reads one GLB of a surface: meshopt compression is decoded by WebAssembly that is part of the page.
import type { Object3D } from 'three';
import { GLTFLoader } from 'three/examples/jsm/loaders/GLTFLoader.js';
import { MeshoptDecoder } from 'three/examples/jsm/libs/meshopt_decoder.module.js';
import { fetchBytes } from '../api/client';

const loader = new GLTFLoader();
loader.setMeshoptDecoder(MeshoptDecoder);

export async function loadSurface(url: string): Promise<Object3D> {
  const bytes = await fetchBytes(url);
  const model = await loader.parseAsync(bytes, '');
  return model.scene;
}
