// Declarations of what the shader for Unity uses of URP, so that a compiler can check its passes; nothing is drawn by it.
#define CBUFFER_START(name) cbuffer name {
#define CBUFFER_END }
#define TEXTURE2D(name) Texture2D name
#define UNITY_VERTEX_INPUT_INSTANCE_ID uint instanceID : SV_InstanceID;
#define UNITY_VERTEX_OUTPUT_STEREO
#define UNITY_SETUP_INSTANCE_ID(input)
#define UNITY_INITIALIZE_VERTEX_OUTPUT_STEREO(output)
#define UNITY_SETUP_STEREO_EYE_INDEX_POST_VERTEX(input)
#define UNITY_NEAR_CLIP_VALUE 1.0f
#define UNITY_REVERSED_Z 1

cbuffer UnityGlobals
{
    float4x4 ObjectToClip;
    float4 _Time, _ScreenParams;
};

struct VertexPositionInputs { float3 positionWS; float3 positionVS; float4 positionCS; float4 positionNDC; };
struct VertexNormalInputs { float3 tangentWS; float3 bitangentWS; float3 normalWS; };
struct SurfaceData
{
    half3 albedo, specular;
    half metallic, smoothness;
    half3 normalTS, emission;
    half occlusion, alpha, clearCoatMask, clearCoatSmoothness;
};
struct InputData
{
    float3 positionWS;
    float4 positionCS;
    float3 normalWS;
    half3 viewDirectionWS;
    float4 shadowCoord;
    half fogCoord;
    half3 vertexLighting, bakedGI;
    float2 normalizedScreenSpaceUV;
    half4 shadowMask;
};

VertexPositionInputs GetVertexPositionInputs(float3 positionOS)
{
    VertexPositionInputs position = (VertexPositionInputs)0;
    position.positionWS = positionOS;
    position.positionCS = mul(ObjectToClip, float4(positionOS, 1.0f));
    return position;
}
VertexNormalInputs GetVertexNormalInputs(float3 normalOS, float4 tangentOS)
{
    VertexNormalInputs normal;
    normal.tangentWS = tangentOS.xyz;
    normal.normalWS = normalOS;
    normal.bitangentWS = cross(normalOS, tangentOS.xyz);
    return normal;
}
float GetOddNegativeScale() { return 1.0f; }
float ComputeFogFactor(float z) { return z; }
float3 TransformObjectToWorld(float3 positionOS) { return positionOS; }
float3 TransformObjectToWorldNormal(float3 normalOS) { return normalOS; }
float4 TransformWorldToHClip(float3 positionWS) { return mul(ObjectToClip, float4(positionWS, 1.0f)); }
float4 TransformObjectToHClip(float3 positionOS) { return mul(ObjectToClip, float4(positionOS, 1.0f)); }
float3 GetWorldSpaceNormalizeViewDir(float3 positionWS) { return normalize(-positionWS); }
float4 TransformWorldToShadowCoord(float3 positionWS) { return float4(positionWS, 1.0f); }
float2 GetNormalizedScreenSpaceUV(float4 positionCS) { return positionCS.xy / _ScreenParams.xy; }
float2 PackNormalOctQuadEncode(float3 n) { return n.xy; }
float3 PackFloat2To888(float2 f) { return float3(f, 0.0f); }
#if defined(INCLUDED_LIGHTING)
half3 SampleSH(half3 normalWS) { return normalWS; }
half3 VertexLighting(float3 positionWS, half3 normalWS) { return normalWS; }
half3 MixFog(half3 color, half fogFactor) { return color * fogFactor; }
half4 UniversalFragmentPBR(InputData inputData, SurfaceData surfaceData)
{
    half3 reflected = surfaceData.metallic;
    #if defined(_SPECULAR_SETUP)
        reflected = surfaceData.specular;
    #endif
    return half4(surfaceData.albedo * inputData.bakedGI + reflected + inputData.vertexLighting, surfaceData.alpha);
}
#endif
#if defined(INCLUDED_SHADOWS)
float3 ApplyShadowBias(float3 positionWS, float3 normalWS, float3 lightDirection) { return positionWS + lightDirection; }
#endif
