// Declarations of the classes of Unity that the importer uses, so that a C# compiler can check it.
using System;

namespace UnityEngine
{
    public class Object { public string name; }
    public class Shader : Object { public static Shader Find(string name) { return null; } }
    public class Texture : Object { public FilterMode filterMode; public TextureWrapMode wrapMode; }
    public enum FilterMode { Point, Bilinear, Trilinear }
    public enum TextureWrapMode { Repeat, Clamp }
    public enum TextureFormat { RGBA32 = 4 }
    public class Texture2D : Texture
    {
        public Texture2D(int width, int height, TextureFormat format, bool mipChain, bool linear) { }
        public void LoadRawTextureData(byte[] data) { }
        public void Apply(bool updateMipmaps, bool makeNoLongerReadable) { }
    }
    public class Material : Object
    {
        public Material(Shader shader) { }
        public Shader shader { get; set; }
        public void SetTexture(string name, Texture value) { }
    }
    public class TextAsset : Object { public byte[] bytes { get { return null; } } }
    public static class Debug
    {
        public static void Log(object message) { }
        public static void LogError(object message) { }
    }
}

namespace UnityEditor
{
    using UnityEngine;

    public class MenuItem : Attribute { public MenuItem(string itemName) { } }
    public static class AssetDatabase
    {
        public static T LoadAssetAtPath<T>(string path) where T : UnityEngine.Object { return null; }
        public static void CreateAsset(UnityEngine.Object asset, string path) { }
        public static void SaveAssets() { }
        public static string[] FindAssets(string filter) { return null; }
        public static string GUIDToAssetPath(string guid) { return null; }
    }
    public static class EditorUtility
    {
        public static void SetDirty(UnityEngine.Object target) { }
        public static void CopySerialized(UnityEngine.Object source, UnityEngine.Object target) { }
    }
}
